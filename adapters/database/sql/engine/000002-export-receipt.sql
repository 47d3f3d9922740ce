-- What was written into a user's database, and when (domain/export.ts, ExportReceipt).
create table engine.export_receipt (
  session_id bigint not null check (session_id > 0),
  sink text not null check (length(sink) between 1 and 128),
  session_rows bigint not null,
  task_rows bigint not null,
  task_result_rows bigint not null,
  payload_rows bigint not null,
  digest text not null check (digest ~ '^0x[0-9a-f]{64}$'),
  written_at timestamptz not null,
  primary key (session_id, sink)
);
