-- Takes a report of an output from anyone. Called only with the service key, by the edge function `report`, which knows the sender's
-- address: `source` is a salted hash of it. The answer is the same whether `output` exists here or not, so that ids cannot be probed. A
-- report sent again under the same id is the same report.
create or replace function public.file_report(
  id uuid, category text, source text, output text default null, contact text default null, signature text default null,
  said text default null, good_faith boolean default false) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.rpc('file_report', jsonb_build_object(
    'id', file_report.id, 'category', file_report.category, 'source', file_report.source, 'output', left(file_report.output, 501),
    'contact', left(file_report.contact, 255), 'signature', left(file_report.signature, 201), 'said', left(file_report.said, 4001),
    'good_faith', file_report.good_faith))
$$;

create or replace function ourvidz.api_file_report(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_id constant uuid := p->>'id';
  v_now constant timestamptz := ourvidz.now();
  v_rule ourvidz.report_rules := ourvidz.report_checked(p);
  v_taken ourvidz.takedowns;
  v_valid boolean;
begin
  if not exists (select from ourvidz.reports where id = v_id) then
    perform ourvidz.report_counted(p->>'source', v_rule);
    v_taken := ourvidz.takedown_of(ourvidz.output_of(p->>'output'));
    v_valid := not v_rule.signed or ((p->>'good_faith')::boolean and num_nulls(p->>'signature', p->>'contact') = 0);
    insert into ourvidz.reports (id, category, subject, user_id, valid, filed_at, due_at)
    values (v_id, v_rule.name, v_taken.subject, v_taken.user_id, v_valid, v_now, v_now + make_interval(secs => v_rule.deadline))
    on conflict (id) do nothing;
    if found then
      insert into ourvidz.report_payloads (id, user_id, contact, signature, said, named)
      values (v_id, v_taken.user_id, p->>'contact', p->>'signature', p->>'said', case when v_taken.subject is null then p->>'output' end);
      perform ourvidz.moderated('filed', 'reporter', p_report => v_id, p_subject => v_taken.subject, p_user => v_taken.user_id);
      perform ourvidz.report_hides(v_taken, v_rule, v_valid, p->>'source');
    end if;
  end if;
  return jsonb_build_object('report', v_id, 'hours', v_rule.deadline / 3600);
end
$$;

-- Hides the output before a person has looked, if the rule says so. Not if a person has already decided on it, so that reports cannot be
-- used to keep an output down; and only so many valid requests a day from one source.
create or replace function ourvidz.report_hides(p_taken ourvidz.takedowns, p_rule ourvidz.report_rules, p_valid boolean, p_source text) returns void
language plpgsql
as $$
begin
  if p_taken.state = 'reported' and not p_taken.reviewed
     and (p_rule.hides = 'always' or p_rule.hides = 'valid' and p_valid and ourvidz.report_may_hide(p_source)) then
    perform ourvidz.takedown(p_taken.subject, 'hidden', 'system', p_rule.name, p_reviewed => false);
  elsif p_taken.state = 'reported' then
    perform ourvidz.sync_takedown_rows(p_taken);
  end if;
end
$$;
