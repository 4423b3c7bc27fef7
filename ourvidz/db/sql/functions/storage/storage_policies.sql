-- Creates our policies on storage.objects from ourvidz.buckets. Users read and delete what is in their own folder (outputs only once
-- delivered: ourvidz.readable), and add to it in reference buckets, unless they are suspended or the object was taken down; a sealed bucket
-- is the service key's alone. Only the service key overwrites or moves objects. A policy with an unchanged text is left as it is, so that
-- no lock is taken. Returns the statements that this role may not run: one with the rights must run them.
create or replace function ourvidz.storage_policies() returns setof text
language plpgsql set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_mine constant text := '(storage.foldername(name))[1] = (select auth.uid())::text';
  v_private constant text[] := (select array_agg(name order by name) from ourvidz.buckets where not public and not sealed);
  v_sealed constant text[] := (select coalesce(array_agg(name order by name), '{}') from ourvidz.buckets where sealed);
  v_here constant text := 'not (select ourvidz.am_suspended()) and not ourvidz.is_withheld(bucket_id, name)';
  -- HTTP libraries on the way resolve dot segments: MINE/../THEIRS/a.png would name another user's object.
  v_plain constant text := $p$name !~ '(^|/)[.]{1,2}(/|$)'$p$;
  v_theirs text;
  v_public constant text[] := (select array_agg(name order by name) from ourvidz.buckets where public);
  v_uploads constant text[] := (select array_agg(name order by name) from ourvidz.buckets where uploads);
  v_statement text;
  v_comment text;
  p record;
begin
  v_theirs := format('bucket_id = any (%L) and %s and (bucket_id = any (%L) or ourvidz.readable(bucket_id, name)) and %s',
                     v_private, v_mine, v_uploads, v_here);
  for p in
    select *, 'ourvidz: ' || md5(rule) as mark
    from (values
      ('ourvidz own', format('for select to authenticated using (%s)', v_theirs)),
      ('ourvidz upload', format('for insert to authenticated with check (bucket_id = any (%L) and %s and %s and %s and (select ourvidz.may_upload()))',
                                v_uploads, v_mine, v_plain, v_here)),
      ('ourvidz delete', format('for delete to authenticated using (%s and not (select ourvidz.on_hold()))', v_theirs)),
      ('ourvidz public', format('for select to anon, authenticated using (bucket_id = any (%L))', v_public)),
      ('ourvidz admin', format('for select to ourvidz_admin using (bucket_id = any (%L))', v_private || v_public)),
      ('ourvidz service', format('to service_role using (bucket_id = any (%1$L)) with check (bucket_id = any (%1$L))', v_private || v_public || v_sealed))
    ) as wanted (name, rule)
  loop
    continue when exists (select from pg_policy where polrelid = 'storage.objects'::regclass and polname = p.name
                          and obj_description(oid, 'pg_policy') = p.mark);
    v_statement := format('drop policy if exists %1$I on storage.objects; create policy %1$I on storage.objects %2$s; ', p.name, p.rule);
    v_comment := format('comment on policy %I on storage.objects is %L;', p.name, p.mark);
    begin
      execute v_statement;
      begin
        execute v_comment;
      exception when insufficient_privilege then
        null;  -- Supabase's `postgres` creates policies there without owning the table, and only its owner comments: recreated next time
      end;
    exception when insufficient_privilege then
      return next v_statement || v_comment;
    end;
  end loop;
end
$$;
