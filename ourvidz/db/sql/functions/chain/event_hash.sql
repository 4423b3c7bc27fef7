-- Returns SHA-256 over the previous hash and the event's canonical bytes (specified and implemented a second time in state/events.py).
-- Inlined into its callers: no SET, not SECURITY DEFINER.
create or replace function ourvidz.event_hash(
  prev_hash bytea, job_id uuid, version integer, type text, from_status text, to_status text,
  claim_no bigint, actor text, occurred_at timestamptz, data jsonb
) returns bytea
language sql stable parallel safe
as $$
  select sha256(prev_hash || convert_to(
    '1' || e'\x1f' || job_id::text || e'\x1f' || version::text || e'\x1f' || type
    || e'\x1f' || coalesce(from_status, '') || e'\x1f' || to_status || e'\x1f' || coalesce(claim_no::text, '')
    || e'\x1f' || actor || e'\x1f' || (extract(epoch from occurred_at) * 1000000)::bigint::text
    || e'\x1f' || data::text, 'UTF8'))
$$;
