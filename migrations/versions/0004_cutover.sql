-- Users whose messages the intake takes while a legacy system's workers drain the same queues (docs/decisions/0035). No row: all users.
create table ourvidz.sharing (
  only_row boolean primary key default true check (only_row),
  users    uuid[] not null,
  since    timestamptz not null
);
