-- Two nullable columns on tables of a few rows: no rewrite, and only a short lock. Earlier programs read neither.

alter table ourvidz.job_types add column fallback text;
comment on column ourvidz.job_types.fallback is 'The type that stands in when this one''s family cannot run (ourvidz.reroute).';

alter table ourvidz.policy add column reroute_after double precision check (reroute_after >= 0);
comment on column ourvidz.policy.reroute_after is
  'Seconds after which the reaper reroutes jobs of a lane that no live executor serves; null: never. An operator''s to set: no upgrade resets it.';
