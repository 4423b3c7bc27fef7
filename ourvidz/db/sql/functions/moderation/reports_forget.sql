-- Deletes the texts and contacts of reports decided long ago (policy.report_kept), a few at a time. Called by the reaper.
create or replace function ourvidz.reports_forget(p_limit integer default 20) returns void
language plpgsql
as $$
declare
  v_ids uuid[];
begin
  v_ids := array(select id from ourvidz.reports
                 where not forgotten and closed_at < (select ourvidz.now() - make_interval(secs => report_kept) from ourvidz.policy)
                 order by closed_at limit p_limit for update skip locked);
  perform ourvidz.report_forget(id, 'system') from unnest(v_ids) as id;
end
$$;

-- Deletes the texts of one report, also when its sender asks for that.
create or replace function ourvidz.report_forget(p_report uuid, p_actor text) returns void
language plpgsql
as $$
begin
  update ourvidz.reports set forgotten = true where id = p_report and not forgotten;
  if found then
    delete from ourvidz.report_payloads where id = p_report;
    perform ourvidz.moderated('forgotten', p_actor, p_report => p_report);
  end if;
end
$$;
