-- Reads raw requests into one set of names. A message (source 'redis') has its own names (id, type, prompt, config, user_id …, and June
-- 2025's jobId, jobType, userId); all other sources use the columns' names. A legacy job type's name becomes today's (ourvidz.older_types),
-- and the old one is kept. A sender's metadata.rerouted and metadata.asked_type are removed: only we write them.
create or replace function ourvidz.read_requests(p_jobs jsonb, p_source text) returns ourvidz.request[]
language plpgsql stable  -- plpgsql caches its plan
as $$
begin
  return (select array_agg(row(
    given.ord, r.id, r.user_id, coalesce(older.job_type, r.job_type), r.prompt, r.negative_prompt, coalesce(r.config, '{}'),
    coalesce(r.metadata, '{}') - '{rerouted,asked_type}'::text[]
      || case when older.asked is null then '{}' else jsonb_build_object('asked_type', older.asked) end
      || case when r.character_id is null then '{}' else jsonb_build_object('character_id', r.character_id) end,
    coalesce(r.settings, '{}'), r.format, r.quality, r.model_type, r.idempotency_key, r.run_at, r.project_id, r.video_id, r.image_id,
    r.character_id, older.asked,
    -- The digest covers the request before a seed is drawn: a repeated request must have the same digest. `request` is the original body if
    -- the job was made from more than that (a project's prompt, say).
    sha256(convert_to(coalesce(given.j->'request', given.j - '{id,run_at}'::text[])::text, 'UTF8')))::ourvidz.request order by given.ord)
  from (select case p_source when 'redis' then ourvidz.read_message(j) else j end as j, ord
        from jsonb_array_elements(p_jobs) with ordinality as raw (j, ord)) as given
  cross join lateral jsonb_populate_record(null::ourvidz.request, given.j) as r
  left join ourvidz.older_types as older
    on older.asked = r.job_type
   and older.format = case when lower(coalesce(r.format, r.metadata->>'format')) like '%video%' then 'video' else 'image' end
   and older.quality = case lower(coalesce(r.quality, r.metadata->>'quality')) when 'high' then 'high' else 'fast' end);
end
$$;

-- Renames a Redis message's fields to the other sources' names. Its compel fields, which only messages have, move to its metadata.
create or replace function ourvidz.read_message(p jsonb) returns jsonb
language sql immutable
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'id', coalesce(p->'id', p->'jobId'), 'job_type', coalesce(p->'type', p->'jobType'), 'user_id', coalesce(p->'user_id', p->'userId'),
    'prompt', p->'prompt', 'negative_prompt', p->'negative_prompt', 'project_id', coalesce(p->'project_id', p->'projectId'),
    'video_id', coalesce(p->'video_id', p->'videoId'), 'image_id', coalesce(p->'image_id', p->'imageId'),
    'character_id', coalesce(p->'character_id', p->'characterId')))
    || jsonb_build_object('config', p->'config', 'metadata', coalesce(nullif(p->'metadata', 'null'), '{}')
      || jsonb_strip_nulls(jsonb_build_object('compel_enabled', p->'compel_enabled', 'compel_weights', p->'compel_weights')))
$$;
