-- Records a prompt that the edge function refused, called with the user's JWT. `digest` is the SHA-256 of the text, hex; it is salted
-- before it is stored. For the caller only, at most 20 a minute: more are refused (OV016), so that nobody can fill the table.
create or replace function public.report_refusal(category text, policy_version text, rule_id text default null, digest text default null)
returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.rpc('report_refusal', jsonb_build_object(
    'category', report_refusal.category, 'policy_version', report_refusal.policy_version, 'rule_id', report_refusal.rule_id,
    'digest', report_refusal.digest))
$$;

create or replace function ourvidz.api_report_refusal(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_user constant uuid := ourvidz.signed_in();
begin
  perform ourvidz.lock_names('refusals', array[v_user::text]);
  if (select count(*) >= 20 from ourvidz.screenings
      where user_id = v_user and at > (select ourvidz.now() - interval '1 minute') and stage = 'door') then
    raise exception 'More than 20 refusals within a minute: try again in 60 s.' using errcode = 'OV016', detail = 'Retry after 60 s.';
  end if;
  perform ourvidz.record_refusal(v_user, p->>'category', p->>'policy_version', p->>'rule_id', p->>'digest');
  return '{"recorded": true}';
end
$$;

create or replace function ourvidz.record_refusal(p_user uuid, p_category text, p_version text, p_rule text, p_digest text) returns void
language plpgsql
as $$
declare
  v_salt constant bytea := ourvidz.salt();
begin
  if p_digest !~ '^[0-9a-f]{64}$' then
    raise check_violation;
  end if;
  insert into ourvidz.screenings (at, user_id, stage, allowed, policy_version, category, rule_id, digest, salt)
  select ourvidz.now(), p_user, 'door', false, p_version, p_category, p_rule,
         encode(sha256(v_salt || decode(p_digest, 'hex')), 'hex'), v_salt
  where not exists (select from public.profiles where id = p_user and erased_at is not null);
exception when check_violation or not_null_violation then
  raise exception 'category, policy_version and rule_id are words of at most 80 characters, and digest is 64 hex digits.' using errcode = 'OV009';
end
$$;
