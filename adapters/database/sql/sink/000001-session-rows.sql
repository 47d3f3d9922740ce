-- A session in its user's own database (domain/export.ts). Amounts are wei, never rounded.

create table {schema}.session (
  session_id bigint primary key check (session_id > 0),
  owner text not null,
  state text not null,
  model text not null,
  level text not null,
  redundancy integer not null,
  policy_cid text,
  keyring_cid text,
  price_per_token_wei numeric(78, 0) not null,
  deposited_wei numeric(78, 0) not null,
  charged_wei numeric(78, 0) not null,
  refunded_wei numeric(78, 0) not null
);

create table {schema}.task (
  task_id text primary key,
  session_id bigint not null references {schema}.session (session_id),
  ordinal integer not null check (ordinal >= 0),
  state text not null,
  outcome text,
  request_cid text not null,
  evidence_cid text,
  prompt_tokens integer,
  completion_tokens integer,
  charge_wei numeric(78, 0) not null,
  settlement_tx text,
  unique (session_id, ordinal)
);

-- One row a miner that committed.
create table {schema}.task_result (
  task_id text not null references {schema}.task (task_id),
  session_id bigint not null references {schema}.session (session_id),
  miner text not null,
  result_cid text not null,
  result_hash text not null,
  score_bps integer check (score_bps between 0 and 10000),
  is_agreed boolean not null,
  paid_wei numeric(78, 0) not null,
  primary key (task_id, miner)
);
create index on {schema}.task_result (session_id);

-- Blocks as stored on IPFS: ciphertext wherever the session is sealed. Sessions may share a block.
create table {schema}.payload (
  cid text primary key,
  kind text not null,
  bytes bytea not null
);
