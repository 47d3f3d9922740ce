-- Rows that a webhook has acknowledged, one a row and sink: what "stands there" of a sink that cannot be
-- read back (adapters/database/sink/delivery-log.ts).

create table engine.export_delivery (
  session_id bigint not null,
  sink text not null,
  table_name text not null,
  key text collate "C" not null,
  hash text not null check (length(hash) = 64),
  primary key (session_id, sink, table_name, key)
);
