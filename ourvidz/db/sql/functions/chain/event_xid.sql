-- Returns this transaction's place in the order of events: its id plus the offset that `ourvidz restored` sets so that a younger server's
-- ids follow the older server's. The default of job_events.xid.
create or replace function ourvidz.event_xid() returns xid8
language plpgsql volatile
as $$
begin
  return (pg_current_xact_id()::text::bigint
          + coalesce((select i.xid_offset from ourvidz.identities as i order by i.n desc limit 1), 0))::text::xid8;
end
$$;

-- Returns the oldest running transaction's place: no event can appear below it any more, so a reader with a cursor below misses none.
create or replace function ourvidz.settled_xid() returns xid8
language plpgsql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  return (pg_snapshot_xmin(pg_current_snapshot())::text::bigint
          + coalesce((select i.xid_offset from ourvidz.identities as i order by i.n desc limit 1), 0))::text::xid8;
end
$$;

-- Refuses (OV050), in a copy, events whose place would be below existing ones, which readers have passed. This is so on a younger server
-- before `ourvidz restored`. Events of concurrent transactions are ignored.
create or replace function ourvidz.refuse_events_out_of_order() returns void
language plpgsql
as $$
declare
  v_own constant xid8 := ourvidz.event_xid();
  v_next constant xid8 := (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + v_own::text::bigint
                           - pg_current_xact_id()::text::bigint)::text::xid8;
begin
  if exists (select from public.job_events where xid > v_own and xid >= v_next) then
    perform ourvidz.refuse_copy();
  end if;
end
$$;
