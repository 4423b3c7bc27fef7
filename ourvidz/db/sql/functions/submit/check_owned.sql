-- Refuses a request that names another user's project, video, image, character or reference picture. The answer is the same as for a
-- missing one, so that it does not reveal that the row exists.
create or replace function ourvidz.check_owned(a ourvidz.asked_job) returns void
language plpgsql stable
as $$
declare
  v_address text;
begin
  if a.project_id is not null and not exists (select from public.projects where id = a.project_id and user_id = a.user_id) then
    perform ourvidz.refuse_missing('project', 'project_id');
  elsif a.video_id is not null and not exists (select from public.videos where id = a.video_id and user_id = a.user_id) then
    perform ourvidz.refuse_missing('video', 'video_id');
  elsif a.image_id is not null and not exists (select from public.images where id = a.image_id and user_id = a.user_id) then
    perform ourvidz.refuse_missing('image', 'image_id');
  elsif a.metadata->>'character_id' is not null
    and not exists (select from public.characters where user_id = a.user_id and id::text = lower(a.metadata->>'character_id')) then
    perform ourvidz.refuse_missing('character', 'character_id');
  end if;
  for v_address in select value from jsonb_each_text(a.settings->'references') loop
    -- URLs are checked by check_references and the fetcher; an object of ours must be in its user's own folder.
    if v_address !~ '^[a-z]+://' and (v_address !~ format('^[^/]+/%s/.', a.user_id) or v_address ~ '/[.]{0,2}(/|$)') then
      perform ourvidz.refuse_missing('reference picture', 'references');
    end if;
  end loop;
end
$$;

create or replace function ourvidz.refuse_missing(p_what text, p_field text) returns void
language plpgsql
as $$
begin
  raise exception 'There is no such % of yours.', p_what using errcode = 'OV018', column = p_field;
end
$$;
