-- Foreign keys that named the older system's jobs followed its table when that was put aside: they name ours from now on.
create or replace function ourvidz.repoint_older() returns void
language plpgsql
as $$
declare
  v_key record;
begin
  for v_key in
    select conname, conrelid::regclass as relation,
           regexp_replace(pg_get_constraintdef(oid), 'REFERENCES (ourvidz[.])?older_jobs', 'REFERENCES public.jobs') as definition
    from pg_constraint
    where contype = 'f' and confrelid = 'ourvidz.older_jobs'::regclass and conrelid <> 'ourvidz.older_jobs'::regclass
  loop
    execute format('alter table %s drop constraint %I, add constraint %2$I %s', v_key.relation, v_key.conname, v_key.definition);
  end loop;
end
$$;
