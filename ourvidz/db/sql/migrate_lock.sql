-- Two migrations at once follow each other, by a lock that needs rights over ours: an advisory one, any login could take and keep. The
-- first migration of all makes the table: a second one then waits for the schema's or the table's name, and finds it.
do $lock$
begin
  loop
    begin
      create schema if not exists ourvidz;
      create table if not exists ourvidz.locks (kind text not null, slot integer not null, primary key (kind, slot));
      exit;
    exception when unique_violation or duplicate_schema or duplicate_table then
      null;  -- another one has just made it
    end;
  end loop;
  lock table ourvidz.locks in share update exclusive mode;  -- row locks go on beside it
end
$lock$;
