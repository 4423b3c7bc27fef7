-- Returns the other texts of its user that belong to a job, for its executor to screen: titles of its project, video and images, its
-- character and its project's. `field`: title or character. The prompts and the metadata come with the claim.
create or replace function ourvidz.job_texts(p_job uuid, p_claim bigint, p_token uuid) returns table (field text, written text)
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  j public.jobs;
  v_character text;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  select * into j from public.jobs where id = p_job;
  select lower(metadata->>'character_id') into v_character from public.job_payloads where job_id = p_job;
  return query
  select distinct found.field, found.written
  from (
    select 'title' as field, p.title as written from public.projects as p where p.id = j.project_id and p.user_id = j.user_id
    union all select 'title', v.title from public.videos as v where v.id = j.video_id and v.user_id = j.user_id
    union all (select 'title', word from public.images as i cross join lateral unnest(array[i.title, i.prompt]) as word
               where (i.id = j.image_id or i.job_id = j.id) and i.user_id = j.user_id limit 200)
    union all select 'character', word
    from public.characters as c
    cross join lateral unnest(array[c.name, c.description, c.traits, array_to_string(c.appearance_tags, ', ')]) as word
    where c.user_id = j.user_id
      and (c.id::text = v_character
           or c.id = (select p.character_id from public.projects as p where p.id = j.project_id and p.user_id = j.user_id))
  ) as found
  where trim(found.written) <> '';
end
$$;
