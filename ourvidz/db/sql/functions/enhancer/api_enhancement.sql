-- Requests an enhanced prompt for the prompt dialog: the caller's own text, screened by the edge function enhance-prompt and again by the
-- enhancer. `job_type` chooses the style; for an unknown type, `format` (image, video) does.
create or replace function public.ask_enhancement(prompt text, job_type text default null, format text default null) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.rpc('ask_enhancement', jsonb_build_object('prompt', ask_enhancement.prompt, 'job_type', ask_enhancement.job_type,
                                                              'format', ask_enhancement.format))
$$;

-- Returns the state of a request: status waiting | working | done | failed, with the text or the reason. A request lives for five minutes.
create or replace function public.enhancement(request_id uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.rpc('enhancement', jsonb_build_object('request_id', enhancement.request_id)) $$;

create or replace function ourvidz.api_ask_enhancement(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_user constant uuid := ourvidz.signed_in();
  v_prompt constant text := trim(p->>'prompt');
  v_id uuid;
begin
  if length(v_prompt) between 1 and 4000 is not true then
    raise exception 'A prompt has 1 to 4,000 characters.' using errcode = 'OV009', column = 'prompt';
  end if;
  perform ourvidz.check_verified(v_user);
  perform ourvidz.check_enhancements(v_user);
  insert into ourvidz.enhancement_requests (user_id, style, prompt, asked_at)
  values (v_user, coalesce((select case when family = 'sdxl' then 'sdxl' when video then 'wan' else 'wan_image' end
                            from ourvidz.job_types where name = p->>'job_type'),
                           case p->>'format' when 'video' then 'wan' else 'sdxl' end),
          v_prompt, ourvidz.now())
  returning id into v_id;
  if exists (select from ourvidz.enhancers where waiting) then
    update ourvidz.enhancers set waiting = false where waiting;
    perform pg_notify('ourvidz', 'enhancement');
  end if;
  return jsonb_build_object('request_id', v_id, 'status', 'waiting');
end
$$;

create or replace function ourvidz.api_enhancement(p jsonb) returns jsonb
language plpgsql stable
as $$
declare
  r ourvidz.enhancement_requests;
begin
  select * into r from ourvidz.enhancement_requests where id = (p->>'request_id')::uuid and user_id = ourvidz.signed_in();
  if not found then
    raise exception 'There is no enhancement request %, or no more.', p->>'request_id' using errcode = 'OV018', column = 'request_id';
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'request_id', r.id, 'style', r.style, 'prompt', r.prompt, 'enhanced', r.enhanced, 'failed', r.failed, 'figures', r.figures,
    'status', case when r.enhanced is not null then 'done' when r.failed is not null then 'failed'
                   when r.lease_until > ourvidz.now() then 'working' else 'waiting' end));
end
$$;
