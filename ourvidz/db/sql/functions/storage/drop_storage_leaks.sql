-- Drops what ourvidz.storage_leaks finds, each with a notice. `dropped` is false where this role may not; another role can run `remedy`.
create or replace function ourvidz.drop_storage_leaks()
returns table (policy name, relation regclass, lets text[], buckets text[], remedy text, dropped boolean)
language plpgsql set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  for policy, relation, lets, buckets, remedy in select l.* from ourvidz.storage_leaks((select jsonb_agg(to_jsonb(b)) from ourvidz.buckets as b)) as l
  loop
    begin
      execute remedy;
      dropped := true;
      raise notice 'policy "%" on % is dropped: it lets % in %', policy, relation, array_to_string(lets, ', '), array_to_string(buckets, ', ');
    exception when insufficient_privilege then
      dropped := false;
      raise notice 'policy "%" on % lets % in %, and is not ours to drop. Run: %', policy, relation, array_to_string(lets, ', '),
        array_to_string(buckets, ', '), remedy;
    end;
    return next;
  end loop;
end
$$;
