-- Creates or changes a receiver: null arguments change nothing. A new receiver gets no texts, except the project's own callback.
create or replace function ourvidz.receiver_set(
  p_name text, p_url text default null, p_events text[] default null, p_secret_env text default null, p_fields text[] default null
) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_constraint text;
  v_figures constant text[] := '{assets,thumbnails,bucket,job_type,user_id,project_id,video_id,image_id,seed,seeds,num_images,generation_time}';
  v_own constant boolean := coalesce(p_name = 'job-callback' and p_url ~ '/functions/v1/job-callback$', false);
  v_secret text;
begin
  if p_url is null and not exists (select from ourvidz.receivers where name = p_name) then
    raise exception 'There is no receiver "%".', left(p_name, 40) using errcode = 'OV018', hint = 'Give its URL to make it.';
  end if;
  v_secret := coalesce(p_secret_env, (select secret_env from ourvidz.receivers where name = p_name),
                       case when v_own then 'CALLBACK_SECRET' else upper(translate(p_name, '-', '_')) || '_SECRET' end);
  -- Whoever knows a secret can sign for all receivers that trust it.
  if exists (select from ourvidz.receivers where secret_env = v_secret and name <> p_name) then
    raise exception 'The secret % is another receiver''s: each has one of its own.', left(v_secret, 64)
      using errcode = 'OV009', column = 'secret', hint = 'Name another variable with --secret-env, and put a new secret into it.';
  end if;
  insert into ourvidz.receivers as r (name, url, events, secret_env, fields, created_at)
  values (p_name, coalesce(p_url, 'https://unused'), coalesce(p_events, '{completed,failed,cancelled}'), v_secret,
          coalesce(p_fields, v_figures || case when v_own then '{error_message,enhancedPrompt}'::text[] else '{}' end), ourvidz.now())
  on conflict (name) do update
  set url = coalesce(p_url, r.url), events = coalesce(p_events, r.events), secret_env = v_secret, fields = coalesce(p_fields, r.fields);
exception when check_violation then
  get stacked diagnostics v_constraint = constraint_name;
  raise exception '%', case v_constraint
      when 'receiver_url' then 'A receiver''s URL begins with https:// (http:// only for this machine itself), without a name or password in it.'
      when 'receiver_events' then 'A receiver hears of processing, completed, failed, cancelled: of one of them at least.'
      when 'receiver_secret' then 'A secret is named by its environment variable, in capitals: CALLBACK_SECRET.'
      when 'receiver_fields' then format('A receiver may be told %s, error_message and enhancedPrompt.', array_to_string(v_figures, ', '))
      when 'receiver_text' then 'error_message and enhancedPrompt hold text: they go to the project''s own /functions/v1/job-callback alone.'
      else 'A receiver''s name has up to 40 small letters, digits and dashes.' end
    using errcode = 'OV009', column = case v_constraint when 'receiver_text' then 'fields' else replace(v_constraint, 'receiver_', '') end;
end
$$;
