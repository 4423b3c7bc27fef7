-- Enables or disables a receiver, for a person. While it is disabled its pending messages wait, and new events write no message for it.
create or replace function ourvidz.receiver_enable(p_name text, p_on boolean, p_reason text default null) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  update ourvidz.receivers
  set enabled = p_on, exhausted = case when p_on then 0 else exhausted end,
      disabled_at = case when not p_on then coalesce(disabled_at, ourvidz.now()) end,
      disabled_reason = case when not p_on then coalesce(p_reason, 'by a person') end
  where name = p_name;
  if not found then
    raise exception 'There is no receiver "%".', left(p_name, 40)
      using errcode = 'OV018', hint = '`ourvidz deliver receivers ls` lists them.';
  end if;
end
$$;
