-- Processes messages of one queue. Each one independently makes its job, joins the existing row, or is refused. Each object holds
-- `message`, as it was in the queue, and `digest` (SHA-256, hex, of its bytes). Returns {ord, outcome, reason?, field?, detail?} for each,
-- and counts it in the same transaction.
create or replace function ourvidz.intake(p_queue text, p_messages jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_read constant jsonb := (select jsonb_agg(jsonb_build_object('queue', p_queue, 'raw', m->'message', 'digest', m->'digest',
                                                                'id', its.r->'id', 'user_id', its.r->'user_id') order by n)
                            from jsonb_array_elements(p_messages) with ordinality as given (m, n)
                            cross join lateral (select ourvidz.read_message(m->'message') as r) as its);
  v_known jsonb;
  v_fresh jsonb;
  v_again jsonb;
  v_done jsonb := '[]';
begin
  perform ourvidz.refuse_copy();
  -- Serialised with these users' requests elsewhere, or concurrent submits could exceed the plan. All locks at once, in their fixed order:
  -- two intakes never wait for each other.
  perform ourvidz.lock_names('pace', array(select (m->>'user_id')::uuid::text from jsonb_array_elements(v_read) as m));
  select coalesce(jsonb_agg(m order by n) filter (where there and nth = 1), '[]'),
         coalesce(jsonb_agg(m order by n) filter (where not there and nth = 1), '[]'), coalesce(jsonb_agg(m order by n) filter (where nth > 1), '[]')
  into v_known, v_fresh, v_again
  from (
    select given.n, given.j || jsonb_build_object('ord', given.n) as m,
           (select id from public.jobs where id = (given.j->>'id')::uuid) is not null as there,
           row_number() over (partition by given.j->>'id' order by given.n) as nth
    from jsonb_array_elements(v_read) with ordinality as given (j, n)
  ) as sorted;

  begin  -- all at once, the usual case; a refusal undoes this, and they go one by one
    if v_fresh <> '[]' then
      v_done := ourvidz.intake_fresh(v_fresh);
    end if;
  exception when others then
    perform ourvidz.reraise_unless_refusal(sqlstate, sqlerrm);
    v_known := v_fresh || v_known;
  end;
  select v_done || coalesce(jsonb_agg(ourvidz.intake_one(m)), '[]') into v_done from jsonb_array_elements(v_known) as m;

  perform ourvidz.intake_record(p_queue, (
    select coalesce(jsonb_agg(r || jsonb_build_object('message_id', m->'id', 'digest', m->'digest')), '[]')
    from jsonb_array_elements(v_done) as r cross join lateral (select v_read->((r->>'ord')::integer - 1) as m) as its));
  if v_again <> '[]' then  -- a later message of the same job sees the outcome of the first
    select v_done || jsonb_agg(r || jsonb_build_object('ord', v_again->((r->>'ord')::integer - 1)->'ord')) into v_done
    from jsonb_array_elements(ourvidz.intake(p_queue, (
      select jsonb_agg(jsonb_build_object('message', m->'raw', 'digest', m->'digest') order by n)
      from jsonb_array_elements(v_again) with ordinality as later (m, n)))) as r;
  end if;
  return v_done;
end
$$;
