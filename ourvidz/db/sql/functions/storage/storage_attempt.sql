-- Returns the buckets in which this verb reaches objects of that owner, as this role with these claims (`BUCKET/undelivered`: outputs that
-- no row says are delivered). Always undone. The verb `buckets` changes the rows of the buckets: whoever can do that could make a bucket
-- public. Raises if this login may not become the role.
create or replace function ourvidz.storage_attempt(p_verb text, p_buckets text[], p_owner uuid, p_role text, p_claims jsonb) returns text[]
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_role constant text := current_setting('role');
  v_reached text[] := '{}';
  v_bucket text;
  v_undelivered constant text := p_owner || '/________-____-____-____-____________/%';  -- as storage_probes makes them
begin
  perform set_config('request.jwt.claims', p_claims::text, true), set_config('role', p_role, true);
  foreach v_bucket in array case when p_verb = 'insert' then p_buckets else '{all}' end loop
    begin
      case p_verb
        when 'insert' then
          insert into storage.objects (bucket_id, name, owner) values (v_bucket, p_owner || '/fresh.png', (p_claims->>'sub')::uuid);
          v_reached := v_reached || v_bucket;
        when 'select' then
          v_reached := array(select distinct bucket_id || case when name like v_undelivered then '/undelivered' else '' end
                             from storage.objects where name like p_owner || '/%');
        when 'update' then
          with done as (update storage.objects set metadata = '{}' where name like p_owner || '/%' returning bucket_id, name)
          select array_agg(distinct bucket_id || case when name like v_undelivered then '/undelivered' else '' end) into v_reached from done;
        when 'delete' then
          with done as (delete from storage.objects where name like p_owner || '/%' returning bucket_id, name)
          select array_agg(distinct bucket_id || case when name like v_undelivered then '/undelivered' else '' end) into v_reached from done;
        when 'buckets' then
          with done as (update storage.buckets set public = public where id = any (p_buckets) returning id)
          select array_agg(id) into v_reached from done;
      end case;
      raise exception using errcode = 'OV000';
    exception when sqlstate 'OV000' then null;  -- it succeeded, and is undone
    when lock_not_available then v_reached := p_buckets;  -- it passed the policy and waited for the row
    when others then null;  -- refused, as a request would be
    end;
  end loop;
  perform set_config('role', v_role, true), set_config('request.jwt.claims', '', true);
  return coalesce(v_reached, '{}');
end
$$;
