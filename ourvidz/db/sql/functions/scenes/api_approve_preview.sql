-- Approves a preview. The choice is stored in the metadata of the final's job, so that a different one is detected later.
create or replace function ourvidz.api_approve_preview(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_scene constant public.videos := ourvidz.lock_scene((p->>'video_id')::uuid);
  v_choice constant jsonb := jsonb_strip_nulls(jsonb_build_object(
    'preview', v_scene.preview_job_id, 'index', coalesce((p->>'index')::integer, 0), 'job_type', p->'job_type',
    'config', coalesce(nullif(p->'config', 'null'), '{}')));
  v_key constant text := p->>'idempotency_key';
  v_final public.jobs;
  v_made record;
  v_request jsonb;
begin
  if length(v_key) not between 1 and 200 then
    raise exception 'An idempotency key has 1 to 200 characters.' using errcode = 'OV009', column = 'idempotency_key';
  end if;
  select * into v_final from public.jobs where id = v_scene.video_job_id;
  if v_scene.approved_at is not null and v_final.status not in ('failed', 'cancelled') then
    if (select metadata->'approved' is distinct from v_choice from public.job_payloads where job_id = v_final.id) then
      raise exception 'The preview of scene % was approved before, with another choice: job % makes its final video.', v_scene.id, v_final.id
        using errcode = 'OV001', hint = 'Cancel that job first, or make a new preview.';
    end if;
    select v_final.id as job_id, false as created into v_made;
  else
    v_request := ourvidz.final_of(v_scene, v_choice) || jsonb_build_object('idempotency_key', v_key);
    if (ourvidz.caller()).user_id is distinct from v_scene.user_id and not coalesce((p->>'charge')::boolean, false) then
      raise exception 'To approve the preview of scene % spends tokens of user %, who did not ask for it.', v_scene.id, v_scene.user_id
        using errcode = 'OV017', column = 'charge', hint = 'Say so with charge (`--charge`), or let its user approve it.';
    end if;
    perform ourvidz.lock_user_submissions(v_scene.user_id);
    if (ourvidz.caller()).role is not null
       and not exists (select from public.job_payloads where user_id = v_scene.user_id and idempotency_key = v_key) then
      perform ourvidz.check_pace(v_scene.user_id);
    end if;
    select * into v_made
    from ourvidz.submit_batch(jsonb_build_array(jsonb_strip_nulls(v_request)), ourvidz.actor(v_scene.user_id), 'rpc');
    update public.videos set approved_at = ourvidz.now()
    where id = v_scene.id and v_made.created and preview_job_id = v_scene.preview_job_id;
  end if;
  return ourvidz.job_view(v_made.job_id)
      || (select jsonb_build_object('created', v_made.created, 'video_id', v.id, 'job_type', j.job_type, 'approved_at', v.approved_at,
                                    'balance', (select token_balance from public.profiles where id = v.user_id))
          from public.videos as v join public.jobs as j on j.id = v_made.job_id where v.id = v_scene.id);
end
$$;
