-- Applies a provider's decision on a user's age, passed on by the edge function age-webhook, which has checked the signature. decision:
-- verified | refused | review (the provider is still looking). Idempotent. Returns {outcome, status}: decided | review (a person must
-- decide) | older (something newer is known; nothing changed) | repeated.
create or replace function public.age_message(
  provider text, message_id text, user_id uuid, decision text, reference text default null, until timestamptz default null,
  said_at timestamptz default null
) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.rpc('age_message', jsonb_build_object(
    'provider', age_message.provider, 'message_id', age_message.message_id, 'user_id', age_message.user_id,
    'decision', age_message.decision, 'reference', age_message.reference, 'until', age_message.until, 'said_at', age_message.said_at))
$$;

create or replace function ourvidz.api_age_message(p jsonb) returns jsonb
language plpgsql
as $$
declare
  m constant ourvidz.age_messages := jsonb_populate_record(
    null::ourvidz.age_messages, p || jsonb_build_object('received_at', ourvidz.now()));
  v_by constant text := 'provider:' || m.provider;
  v_decision constant text := p->>'decision';
  v_how constant text := trim('message of the provider ' || coalesce(left(p->>'reference', 200), ''));
  v_until constant timestamptz := p->>'until';
  v_last ourvidz.age_reviews;
  v_outcome text := 'decided';
begin
  if coalesce((ourvidz.caller()).role, 'service_role') <> 'service_role' then  -- no other role has the grant, unless a project adds it
    raise exception 'A provider''s message comes with the service key.' using errcode = 'OV017';
  elsif v_decision in ('verified', 'refused', 'review') is not true then
    raise exception 'A provider''s decision is verified, refused or review.' using errcode = 'OV009', column = 'decision';
  elsif m.provider ~ '^[a-z0-9_-]{1,40}$' is not true or length(m.message_id) between 1 and 200 is not true then
    raise exception 'A message has a provider''s name and an id of 1 to 200 characters.' using errcode = 'OV009', column = 'message_id';
  end if;
  delete from ourvidz.age_messages where received_at < (select ourvidz.now() - interval '90 days');
  -- Serialises the messages of one user.
  perform from public.profiles where id = m.user_id and erased_at is null for no key update;
  if not found then
    raise exception 'There is no profile %, or it was erased.', m.user_id using errcode = 'OV018', column = 'user_id';
  end if;
  insert into ourvidz.age_messages (provider, message_id, user_id, said_at, received_at)
  values (m.provider, m.message_id, m.user_id, m.said_at, m.received_at) on conflict do nothing;
  if not found then
    return jsonb_build_object('outcome', 'repeated', 'status', ourvidz.age_of(m.user_id)->'status');
  end if;
  select * into v_last from ourvidz.age_reviews as r where r.user_id = m.user_id and r.decision is not null order by id + 0 desc limit 1;
  if exists (select from ourvidz.age_messages as a where a.user_id = m.user_id and a.provider = m.provider and a.said_at > m.said_at)
     or v_last.decided_by not like 'provider:%' and v_last.decided_at > m.said_at then
    v_outcome := 'older';
  -- A provider cannot overturn a person's refusal or withdrawal: a person decides. The same if the verification has already expired.
  elsif v_decision = 'review' or v_decision = 'verified'
        and (v_until <= ourvidz.now() or v_last.decision in ('refused', 'withdrawn') and v_last.decided_by <> v_by) then
    v_outcome := 'review';
    perform ourvidz.age_look(m.user_id, v_by, v_how);
  else
    perform ourvidz.verify_age(m.user_id, v_decision = 'verified', v_how, v_by, v_until);
  end if;
  return jsonb_build_object('outcome', v_outcome, 'status', ourvidz.age_of(m.user_id)->'status');
end
$$;
