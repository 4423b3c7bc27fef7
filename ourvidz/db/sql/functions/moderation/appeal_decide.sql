-- Decides an appeal for an operator. If granted, the output is restored and its reports are dismissed, or the suspension is lifted.
create or replace function ourvidz.appeal_decide(p_appeal uuid, p_granted boolean, p_actor text) returns ourvidz.appeals
language plpgsql
as $$
declare
  v_row ourvidz.appeals;
  v_word constant text := case when p_granted then 'granted' else 'denied' end;
begin
  perform from ourvidz.takedowns where subject = (select subject from ourvidz.appeals where id = p_appeal) for update;
  select * into v_row from ourvidz.appeals where id = p_appeal for update;
  if not found then
    raise exception 'There is no appeal %.', p_appeal using errcode = 'OV018', column = 'appeal';
  elsif v_row.decision = v_word then
    return v_row;
  elsif v_row.decision is not null then
    raise exception 'Appeal % was % already.', p_appeal, v_row.decision using errcode = 'OV001';
  end if;
  update ourvidz.appeals set decision = v_word, decided_at = ourvidz.now(), decided_by = p_actor where id = p_appeal returning * into v_row;
  perform ourvidz.moderated('appeal_' || v_word, p_actor, p_subject => v_row.subject, p_user => v_row.user_id, p_appeal => p_appeal);
  if p_granted and v_row.suspension is not null then
    perform ourvidz.suspension_lift(v_row.user_id, p_actor);
  elsif p_granted then
    perform ourvidz.report_act(id, 'restore', p_actor) from ourvidz.reports where subject = v_row.subject and status <> 'dismissed';
    perform ourvidz.takedown(v_row.subject, 'restored', p_actor, 'appeal');
  end if;
  return v_row;
end
$$;
