-- Takes an output down for good: refuses its bytes and similar pictures from now on, and hides copies made before.
create or replace function ourvidz.block_output(p_subject text, p_actor text, p_cause text, p_report uuid) returns void
language plpgsql
as $$
declare
  v_row ourvidz.takedowns;
  v_sha256 text[];
  v_pdq text[];
  v_copy ourvidz.takedowns;
begin
  perform ourvidz.takedown(p_subject, 'blocked', p_actor, p_cause);
  select * into v_row from ourvidz.takedowns where subject = p_subject;
  select array_agg(distinct a.sha256), array_agg(distinct encode(substring(bit_send(h) from 5), 'hex')) filter (where h is not null)
  into v_sha256, v_pdq
  from public.artifacts as a left join lateral unnest(a.pdq) as h on true
  where a.job_id = v_row.job_id and a.kind in (v_row.kind, 'thumbnail') and a.index = v_row.index;
  perform ourvidz.block_add(v_sha256, v_pdq, 'takedown', p_actor, p_subject, p_report);
  for v_copy in select * from ourvidz.copies_of(v_row, v_sha256, v_pdq) order by subject loop
    v_copy := ourvidz.takedown_of(v_copy);
    perform ourvidz.takedown(v_copy.subject, 'hidden', p_actor, 'copy') where not v_copy.reviewed;
  end loop;
end
$$;

-- Returns outputs with the same bytes or a similar picture. Reads every artifact once: for a person's decision, not for a request.
create or replace function ourvidz.copies_of(p_row ourvidz.takedowns, p_sha256 text[], p_pdq text[]) returns setof ourvidz.takedowns
language sql stable
as $$
  select o.* from public.artifacts as a cross join lateral ourvidz.output_subject(a) as o
  where a.kind in ('image', 'video') and a.deleted_at is null and not a.taken_down
    and (a.job_id, a.kind, a.index) is distinct from (p_row.job_id, p_row.kind, p_row.index)
    and (a.sha256 = any (p_sha256)
         or exists (select from unnest(a.pdq) as h, unnest(p_pdq) as b
                    where bit_count(h # ourvidz.pdq_of(b)) <= (select pdq_distance from ourvidz.policy)))
$$;
