-- Refuses, with a named error, what must not be queued: an unknown type, an unverified profile, no text, settings out of range, two
-- different jobs under one id or key. Writes nothing.
-- p_lock: false for a dry run, which takes no row locks either.
create or replace function ourvidz.check_requests(p_asked ourvidz.asked_job[], p_lock boolean default true) returns void
language plpgsql
as $$
declare
  a ourvidz.asked_job;
  v_last ourvidz.asked_job;
  v_type ourvidz.job_types;
begin
  if p_lock then
    perform ourvidz.lock_verified(array(select distinct user_id from unnest(p_asked)));
  end if;
  select asked.user_id into a.user_id from (select distinct user_id from unnest(p_asked)) as asked
  where not ourvidz.may_run(asked.user_id) limit 1;
  if found then
    perform ourvidz.refuse_unverified(a.user_id);
  end if;
  if cardinality(p_asked) > 1 and exists (
       select from unnest(p_asked) as x group by x.id having count(distinct x.body_digest) > 1
       union all
       select from unnest(p_asked) as x where x.idempotency_key is not null
       group by x.user_id, x.idempotency_key having count(distinct x.body_digest) > 1) then
    raise exception 'Two different jobs of this batch have the same id or idempotency key.'
      using errcode = 'OV008', hint = 'Give each job a key of its own, or send the very same body to get the same job.';
  end if;
  foreach a in array p_asked loop
    if v_type.name is null or a.job_type is distinct from v_type.name then
      v_type := ourvidz.kind_of(a.job_type);
    end if;
    if coalesce(length(trim(a.prompt)), 0) not between 1 and 4000 then
      raise exception 'The prompt must have 1 to 4,000 characters.' using errcode = 'OV009', column = 'prompt';
    elsif length(a.negative_prompt) > 2000 then
      raise exception 'The negative prompt may have at most 2,000 characters.' using errcode = 'OV009', column = 'negative_prompt';
    end if;
    if (a.user_id, a.job_type, a.settings, a.chosen, a.metadata, a.project_id, a.video_id)
       is distinct from (v_last.user_id, v_last.job_type, v_last.settings, v_last.chosen, v_last.metadata, v_last.project_id, v_last.video_id) then
      perform ourvidz.check_references_and_settings(a, v_type);
      v_last := a;
    end if;
  end loop;
end
$$;

-- Prevents the erasure of these users until the transaction ends; one erased meanwhile is no longer verified. Blocks nothing but an erasure
-- (ourvidz.erase_lock). Always taken before a job's lock.
create or replace function ourvidz.lock_verified(p_users uuid[]) returns void
language plpgsql
as $$
begin
  perform from public.profiles where id = any (p_users) and age_verified order by id for key share;
end
$$;
