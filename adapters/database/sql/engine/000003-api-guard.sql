-- What API keys have used (nodes/router/guard): one row a task, so that a task counts once however
-- often its end is reported.
create table engine.api_key_task (
  key_name text not null check (length(key_name) between 1 and 200),
  task_id text not null check (task_id ~ '^0x[0-9a-f]{64}$'),
  tokens bigint not null check (tokens >= 0),
  primary key (key_name, task_id)
);

-- Nonces that a wallet has signed in with, until they would have expired anyway.
create table engine.sign_in_nonce (
  nonce text primary key check (length(nonce) between 8 and 200),
  expires_at timestamptz not null
);
create index sign_in_nonce_expires_at on engine.sign_in_nonce (expires_at);
