-- Returns the address of a reference picture. URLs of our own storage become bucket/path, so that no signature can expire; a bare path is
-- an upload; a browser's blob: URL, whose object the deployed front end uploads without naming it, is the user's newest upload (p_newer:
-- skips so many). Null if there is none. Anything else passes unchanged: check_references checks it.
create or replace function ourvidz.read_reference(p_user uuid, p_value jsonb, p_newer bigint default 0) returns jsonb
language plpgsql stable
as $$
declare
  v_said constant text := p_value #>> '{}';
  v_own constant text := p_user::text || '/';
  v_parts text[];
begin
  if jsonb_typeof(p_value) <> 'string' then
    return p_value;
  elsif v_said like 'blob:%' then
    return to_jsonb('reference_images/' || ourvidz.newest_upload(p_user, p_newer));
  elsif starts_with(v_said, v_own) then
    return to_jsonb('reference_images/' || v_said);
  end if;
  v_parts := regexp_match(v_said, '^https?://[^/?#]+/storage/v1/(?:object|render/image)/(?:sign|authenticated|public)/([^/?#]+)/([^?#]+)');
  if v_parts is not null then
    v_parts[2] := ourvidz.url_decoded(v_parts[2]);
    -- Another user's object, whoever signed it, is refused by check_owned like any other address of theirs.
    if starts_with(v_parts[2], v_own) or v_parts[2] ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/' then
      return to_jsonb(v_parts[1] || '/' || v_parts[2]);
    end if;
  end if;
  return p_value;
end
$$;

-- Returns a user's newest upload. Owned by the migrating role (own.sql): on Supabase it may read storage.objects, and cannot grant that to
-- ourvidz_owner. Uses operators that an index on names supports: LIKE with a user unknown at planning reads all objects of all users.
create or replace function ourvidz.newest_upload(p_user uuid, p_newer bigint) returns text
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select name from storage.objects where bucket_id = 'reference_images' and name ~>=~ (p_user::text || '/') and name ~<~ (p_user::text || '0')
  order by created_at desc, name desc offset p_newer limit 1
$$;

-- Decodes %20 and the like; text that is not UTF-8 afterwards stays unchanged.
create or replace function ourvidz.url_decoded(p text) returns text
language plpgsql immutable
as $$
begin
  return case when strpos(p, '%') > 0 then convert_from(decode((
    select string_agg(case when starts_with(part, '%') then substr(part, 2) else encode(convert_to(part, 'UTF8'), 'hex') end, '' order by n)
    from (select m[1] as part, row_number() over () as n from regexp_matches(p, '%[0-9A-Fa-f]{2}|.', 'g') as m) as parts), 'hex'), 'UTF8') else p end;
exception when character_not_in_repertoire or untranslatable_character then
  return p;
end
$$;
