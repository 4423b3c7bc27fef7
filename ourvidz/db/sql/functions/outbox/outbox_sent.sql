-- Records that the receiver has the message. Accepted from a deliverer whose lease has expired too: it is true all the same.
create or replace function ourvidz.outbox_sent(p_message uuid, p_status integer) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_receiver text;
begin
  update ourvidz.outbox
  set delivered_at = ourvidz.now(), dead_at = null, attempts = attempts + 1, last_status = p_status, last_error = null
  where id = p_message and delivered_at is null
  returning receiver into v_receiver;
  update ourvidz.receivers set exhausted = 0 where name = v_receiver and exhausted > 0;
end
$$;
