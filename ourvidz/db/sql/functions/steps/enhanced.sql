-- Stores an enhanced prompt once: a retry on any host finds it. The text goes to the payload, its salted hash to the event.
create or replace function ourvidz.enhanced(p_job uuid, p_claim bigint, p_token uuid, p_text text, p_seconds float8, p_tokens integer)
returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_digest text;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  if (select enhanced from public.jobs where id = p_job) then
    return;  -- a repeated call, after the answer to the first was lost
  end if;
  update public.job_payloads set enhanced_prompt = p_text where job_id = p_job
  returning encode(sha256(salt || convert_to(p_text, 'UTF8')), 'hex') into v_digest;
  perform ourvidz.append(array[p_job], 'prompt_enhanced',
    array[jsonb_build_object('seconds', round(p_seconds::numeric, 3), 'tokens', p_tokens, 'digest', v_digest)], 'executor');
end
$$;
