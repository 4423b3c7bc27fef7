-- Builds the request for a scene's final video, for submit_batch. Refuses without a finished preview, that picture or a video type.
create or replace function ourvidz.final_of(p_scene public.videos, p_choice jsonb) returns jsonb
language plpgsql stable
as $$
declare
  v_kind ourvidz.job_types;
  v_preview public.jobs;
  v_words public.job_payloads;
  v_picture public.artifacts;
  v_asked jsonb;
  v_chosen jsonb;
begin
  select * into v_kind from ourvidz.job_types where name = p_choice->>'job_type';
  if not coalesce(v_kind.video, false) then
    raise exception '"%" makes no video.', left(coalesce(p_choice->>'job_type', '(none)'), 40) using errcode = 'OV009', column = 'job_type';
  end if;
  select * into v_preview from public.jobs where id = p_scene.preview_job_id;
  if v_preview.status is distinct from 'completed' then
    raise exception 'The preview of scene % is %: there is nothing to approve.', p_scene.id, coalesce(v_preview.status, 'not made yet')
      using errcode = 'OV001', hint = 'Queue an image job with this video_id, and wait until it has completed.';
  end if;
  select * into v_words from public.job_payloads where job_id = v_preview.id;
  select * into v_picture from public.artifacts
  where job_id = v_preview.id and kind = 'image' and index = (p_choice->>'index')::integer and uploaded_at is not null;
  if v_picture.path is null or coalesce(v_words.prompt, '') = '' then
    raise exception 'Picture % of the preview of scene % is not there.', p_choice->>'index', p_scene.id
      using errcode = 'OV018', hint = 'Choose another, or make a new preview.';
  end if;
  v_asked := jsonb_build_object(
    'user_id', p_scene.user_id, 'job_type', v_kind.name, 'config', p_choice->'config', 'prompt', v_words.prompt,
    'negative_prompt', v_words.negative_prompt, 'video_id', p_scene.id, 'project_id', coalesce(v_preview.project_id, p_scene.project_id));
  v_chosen := ourvidz.normalise(v_asked, 'rpc')->'chosen';
  if v_chosen->'references' ?| '{single,first_frame}' then
    raise exception 'The final video begins with the approved picture: config may name a last_frame, and no other picture.'
      using errcode = 'OV009', column = 'config';
  end if;
  return v_asked || jsonb_build_object(
    'request', p_choice, 'metadata', jsonb_build_object('approved', p_choice),
    'settings', jsonb_build_object('references', jsonb_build_object('first_frame', v_picture.bucket || '/' || v_picture.path))
      || case when v_chosen ?| '{width,height}' then '{}' else (
      -- The type's size closest in shape to the picture; its usual one for a square.
      select jsonb_build_object('width', side->0, 'height', side->1)
      from jsonb_array_elements(v_kind.limits->'size'->'in') with ordinality as sizes (side, n)
      order by round(abs(ln((side->>0)::numeric / (side->>1)::numeric) - ln(v_picture.width::numeric / v_picture.height)), 6), n limit 1) end);
end
$$;
