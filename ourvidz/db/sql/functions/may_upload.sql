-- Whether the caller may add another object to the buckets of references: they have fewer than ourvidz.limits says. Owned by the role that
-- migrates, as newest_upload is. By the operators of text_pattern_ops, which Supabase's index on names answers; no more than the limit is read.
create or replace function ourvidz.may_upload() returns boolean
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select (select count(*) from (
            select from storage.objects
            where bucket_id in (select name from ourvidz.buckets where uploads)
              and name ~>=~ (me.user_id::text || '/') and name ~<~ (me.user_id::text || '0')
            limit (select upload_objects from ourvidz.limits)) as theirs)
         < (select upload_objects from ourvidz.limits)
  from ourvidz.caller() as me
$$;
