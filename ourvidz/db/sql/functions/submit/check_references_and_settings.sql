-- Checks what a request asks to have made: ownership of linked rows, references, settings.
create or replace function ourvidz.check_references_and_settings(a ourvidz.asked_job, p_kind ourvidz.job_types) returns void
language plpgsql
as $$
begin
  if num_nonnulls(a.project_id, a.video_id, a.image_id, a.metadata->'character_id', a.settings->'references') > 0 then
    perform ourvidz.check_owned(a);
  end if;
  if coalesce(jsonb_typeof(a.chosen->'compel_enabled'), 'boolean') <> 'boolean' then
    raise exception 'compel_enabled must be true or false.' using errcode = 'OV009', column = 'compel_enabled';
  end if;
  perform ourvidz.check_references(p_kind, coalesce(a.settings->'references', '{}'));
  perform ourvidz.check_settings(a.job_type, a.settings, p_kind.limits);
end
$$;
