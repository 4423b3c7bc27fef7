-- Applies an operator's verb to a report (ourvidz.report_moves): its status, the output's state, and an event for each. Idempotent. The
-- output is restored only if no other report keeps it down.
create or replace function ourvidz.report_act(p_report uuid, p_verb text, p_actor text) returns ourvidz.reports
language plpgsql
as $$
declare
  v_report ourvidz.reports;
  v_move ourvidz.report_moves;
begin
  -- The output's row first, as filing does: serialises two verbs on two reports of one output.
  perform from ourvidz.takedowns where subject = (select subject from ourvidz.reports where id = p_report) for update;
  select * into v_report from ourvidz.reports where id = p_report for update;
  if not found then
    raise exception 'There is no report %.', p_report using errcode = 'OV018', column = 'report';
  end if;
  select * into v_move from ourvidz.report_moves where verb = p_verb and source = v_report.status;
  if not found then
    if v_report.status = (select target from ourvidz.report_moves where verb = p_verb limit 1) then
      return v_report;
    end if;
    raise exception 'Report % is %: it cannot be "%".', p_report, v_report.status, left(p_verb, 40)
      using errcode = 'OV001', hint = format('From there: %s.', (select string_agg(verb, ', ' order by verb) from ourvidz.report_moves
                                                                 where source = v_report.status));
  end if;
  if v_move.target <> v_report.status then
    update ourvidz.reports set status = v_move.target, closed_at = case when v_move.target in ('dismissed', 'upheld') then ourvidz.now() end
    where id = p_report returning * into v_report;
    perform ourvidz.moderated(case when p_verb = 'reopen' then 'reopened' else v_move.target end, p_actor, p_report => p_report,
                              p_subject => v_report.subject, p_user => v_report.user_id);
  end if;
  if v_report.subject is null then
    return v_report;
  elsif v_move.output = 'blocked' then
    perform ourvidz.block_output(v_report.subject, p_actor, v_report.category, p_report);
  elsif v_move.output is not null and not (p_verb = 'dismiss' and ourvidz.held_down(v_report.subject, p_report)) then
    perform ourvidz.takedown(v_report.subject, v_move.output, p_actor, v_report.category);
  end if;
  return v_report;
end
$$;

-- Checks whether another report keeps the output down: an upheld one, or a valid undecided one of a category that hides at filing.
create or replace function ourvidz.held_down(p_subject text, p_but uuid) returns boolean
language sql stable
as $$
  select exists (select from ourvidz.reports as r join ourvidz.report_rules as rule on rule.name = r.category
                 where r.subject = p_subject and r.id <> p_but
                   and (r.status = 'upheld' or r.closed_at is null and r.valid and rule.hides <> 'never'))
$$;

-- Applies an operator's own decision on an output, without a report.
create or replace function ourvidz.output_act(p_named text, p_verb text, p_actor text, p_cause text) returns ourvidz.takedowns
language plpgsql
as $$
declare
  v_row ourvidz.takedowns := ourvidz.takedown_of(ourvidz.output_of(p_named));
begin
  if v_row.subject is null then
    raise exception 'There is no such output.' using errcode = 'OV018', column = 'output';
  elsif p_verb = 'block' then
    perform ourvidz.block_output(v_row.subject, p_actor, p_cause, null);
  elsif p_verb in ('hide', 'restore') then
    perform ourvidz.takedown(v_row.subject, case p_verb when 'hide' then 'hidden' else 'restored' end, p_actor, p_cause);
  else
    raise exception 'An output can be hidden, restored or blocked.' using errcode = 'OV009', column = 'verb';
  end if;
  select * into v_row from ourvidz.takedowns where subject = v_row.subject;
  return v_row;
end
$$;
