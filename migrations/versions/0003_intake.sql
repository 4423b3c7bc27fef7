-- Messages that the intake took off its queues, and their outcome: ids, listed words and a hash, never a text.
create table ourvidz.intake_messages (
  seq        bigint generated always as identity primary key,
  at         timestamptz not null,
  queue      text not null,
  -- drained: it made its job; joined: its job's row existed already; repeated: seen before; refused: see reason
  outcome    text not null check (outcome in ('drained', 'joined', 'repeated', 'refused')),
  message_id uuid,
  digest     bytea not null check (length(digest) = 32),  -- SHA-256 of the message as it was in the queue
  reason     text,
  field      text
);
create index intake_messages_of_job on ourvidz.intake_messages (message_id);
create index intake_messages_recent on ourvidz.intake_messages (at desc);

-- Counts of all messages, kept for ever: the messages are deleted after a while (ourvidz.intake_forget).
create table ourvidz.intake_counts (
  day     date not null,
  queue   text not null,
  outcome text not null,
  reason  text not null default '',
  n       bigint not null,
  primary key (day, queue, outcome, reason)
);
