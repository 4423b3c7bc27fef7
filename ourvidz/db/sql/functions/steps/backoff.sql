-- Returns the delay before the attempt after the n-th failed one, scaled by job type, with jitter downwards (state/policy.py: backoff).
create or replace function ourvidz.backoff(p_failures integer, p_job_type text default null) returns interval
language sql volatile
as $$
  select make_interval(secs => least(backoff_max, backoff_base * backoff_factor ^ (p_failures - 1))
                               * coalesce((select backoff_scale from ourvidz.job_types where name = p_job_type), 1)
                               * (1 - backoff_jitter * random()))
  from ourvidz.policy
$$;
