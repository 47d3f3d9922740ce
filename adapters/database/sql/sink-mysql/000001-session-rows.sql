-- A session in its user's own database (domain/export.ts), as in PostgreSQL. Amounts are wei in decimal
-- digits: up to 78 of them, where the widest number of MySQL has 65. Keys compare as bytes.

create table if not exists `{schema}`.session (
  session_id bigint primary key,
  owner varchar(64) character set ascii collate ascii_bin not null,
  state varchar(32) character set ascii collate ascii_bin not null,
  model varchar(200) character set utf8mb4 collate utf8mb4_bin not null,
  level varchar(32) character set ascii collate ascii_bin not null,
  redundancy integer not null,
  policy_cid varchar(128) character set ascii collate ascii_bin,
  keyring_cid varchar(128) character set ascii collate ascii_bin,
  price_per_token_wei varchar(78) character set ascii collate ascii_bin not null,
  deposited_wei varchar(78) character set ascii collate ascii_bin not null,
  charged_wei varchar(78) character set ascii collate ascii_bin not null,
  refunded_wei varchar(78) character set ascii collate ascii_bin not null
) engine = InnoDB;

create table if not exists `{schema}`.task (
  task_id varchar(66) character set ascii collate ascii_bin primary key,
  session_id bigint not null,
  ordinal integer not null,
  state varchar(32) character set ascii collate ascii_bin not null,
  outcome varchar(32) character set ascii collate ascii_bin,
  request_cid varchar(128) character set ascii collate ascii_bin not null,
  evidence_cid varchar(128) character set ascii collate ascii_bin,
  prompt_tokens integer,
  completion_tokens integer,
  charge_wei varchar(78) character set ascii collate ascii_bin not null,
  settlement_tx varchar(66) character set ascii collate ascii_bin,
  key by_ordinal (session_id, ordinal),
  constraint task_session foreign key (session_id) references `{schema}`.session (session_id)
) engine = InnoDB;

-- One row a miner that committed.
create table if not exists `{schema}`.task_result (
  task_id varchar(66) character set ascii collate ascii_bin not null,
  session_id bigint not null,
  miner varchar(64) character set ascii collate ascii_bin not null,
  result_cid varchar(128) character set ascii collate ascii_bin not null,
  result_hash varchar(66) character set ascii collate ascii_bin not null,
  score_bps integer,
  is_agreed boolean not null,
  paid_wei varchar(78) character set ascii collate ascii_bin not null,
  primary key (task_id, miner),
  key by_session (session_id),
  constraint task_result_task foreign key (task_id) references `{schema}`.task (task_id),
  constraint task_result_session foreign key (session_id) references `{schema}`.session (session_id)
) engine = InnoDB;

-- Blocks as stored on IPFS: ciphertext wherever the session is sealed. Sessions may share a block.
create table if not exists `{schema}`.payload (
  cid varchar(128) character set ascii collate ascii_bin primary key,
  kind varchar(16) character set ascii collate ascii_bin not null,
  bytes longblob not null,
  text longtext character set utf8mb4 collate utf8mb4_bin
) engine = InnoDB;
