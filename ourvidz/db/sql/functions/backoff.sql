-- Seconds until the next attempt after the n-th failed one, with jitter downwards (state/policy.py: backoff).
create or replace function ourvidz.backoff(p_failures integer) returns interval
language sql volatile
as $$
  select make_interval(secs => least(backoff_max, backoff_base * backoff_factor ^ (p_failures - 1)) * (1 - backoff_jitter * random()))
  from ourvidz.policy
$$;
