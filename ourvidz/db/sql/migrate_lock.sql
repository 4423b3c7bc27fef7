-- Serialises migrations, with a lock that needs rights on our table: any login could take and keep an advisory one. The first migration of
-- all creates the table: a concurrent one waits for the schema's or the table's name, and then finds it.
do $lock$
begin
  loop
    begin
      create schema if not exists ourvidz;
      create table if not exists ourvidz.locks (kind text not null, slot integer not null, primary key (kind, slot));
      exit;
    exception when unique_violation or duplicate_schema or duplicate_table then
      null;  -- another migration has just created it
    end;
  end loop;
  lock table ourvidz.locks in share update exclusive mode;  -- does not conflict with row locks
end
$lock$;
