-- Checks whether the caller may add an object to the reference buckets: they have fewer than ourvidz.limits allows. Owned by the migrating
-- role, like newest_upload. Uses text_pattern_ops operators, which Supabase's index on names supports; reads no more rows than the limit.
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
