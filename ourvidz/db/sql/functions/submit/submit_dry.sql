-- Returns what submit would make of a request, with price, balance, place and wait, or raises as it would. Writes nothing, so it runs in a
-- read-only transaction too: no row is locked, and the place is where the job would enter now.
create or replace function ourvidz.submit_dry(p_request jsonb, p_source text) returns jsonb
language plpgsql
as $$
declare
  v_asked constant ourvidz.asked_job[] := ourvidz.normalise_requests(jsonb_build_array(p_request), p_source);
  a constant ourvidz.asked_job := v_asked[1];
  v_price constant bigint := ourvidz.price_of(a.job_type, a.settings);
  v_balance bigint;
  v_place record;
begin
  perform ourvidz.check_requests(v_asked, false);
  perform ourvidz.check_pictures(v_asked);
  if (ourvidz.caller()).role is not null then
    perform ourvidz.check_pace(a.user_id);
  end if;
  select token_balance into v_balance from public.profiles where id = a.user_id;
  if v_price > v_balance then
    raise exception 'This takes % tokens, and the balance of profile % is %.', v_price, a.user_id, v_balance
      using errcode = 'OV014', detail = json_build_object('needed', v_price, 'balance', v_balance)::text;
  end if;
  select * into v_place from ourvidz.place_of(a.lane, a.job_type, ourvidz.entry(a.user_id, a.lane) + ourvidz.priority_offset(a.priority), ourvidz.now());
  return jsonb_build_object('job_type', a.job_type, 'settings', a.settings, 'lane', a.lane, 'set_aside', coalesce(a.set_aside, '[]'),
                            'price', v_price, 'balance', v_balance, 'position', v_place.n, 'eta_seconds', ceil(v_place.eta));
end
$$;
