/** Writes a complete configuration in the file's own words, to be read back to an equal one. */
import { renameSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import type { EngineConfig, RetryPolicyConfig } from '../../domain/config.js';
import { formatDuration } from './duration.js';

/**
 * Writes `temporal.yaml` for the processes of one deployment, readable by the owner alone. A reader
 * sees the old file or the new one, never half of it.
 * @throws Error — as the file system says.
 */
export function writeConfig(file: string, config: EngineConfig): void {
  const text = `# Written by cortensor; changes are lost at its next start.\n${stringify(toFile(config))}`;
  const draft = `${file}.new`;
  writeFileSync(draft, text, { mode: 0o600 });
  renameSync(draft, file);
}

function toFile(config: EngineConfig) {
  const { stickyTimeoutMs, retries, schedules, settlement, dapps, ipfs, router, ...rest } = config;
  const { maxAgeMs, ...settlementRest } = settlement;
  const { timeoutMs, repairEveryMs, ...ipfsRest } = ipfs;
  const { firstTokenMs, hedgeMs, limits, signIn, ...routerRest } = router;
  const { waitMs, headersMs, requestMs, ...limitsRest } = limits;
  return {
    ...rest,
    stickyTimeout: formatDuration(stickyTimeoutMs),
    retries: {
      chain: retryToFile(retries.chain),
      ipfs: retryToFile(retries.ipfs),
      database: retryToFile(retries.database),
      miner: retryToFile(retries.miner),
      oracle: retryToFile(retries.oracle),
    },
    schedules: {
      healthEpoch: {
        every: formatDuration(schedules.healthEpoch.everyMs),
        jitter: formatDuration(schedules.healthEpoch.jitterMs),
      },
    },
    settlement: { ...settlementRest, maxAge: formatDuration(maxAgeMs) },
    dapps: { every: formatDuration(dapps.everyMs) },
    ipfs: {
      ...ipfsRest,
      timeout: formatDuration(timeoutMs),
      repairEvery: formatDuration(repairEveryMs),
    },
    router: {
      ...routerRest,
      limits: {
        ...limitsRest,
        wait: formatDuration(waitMs),
        headers: formatDuration(headersMs),
        request: formatDuration(requestMs),
      },
      signIn: { domains: signIn.domains, token: formatDuration(signIn.tokenMs) },
      firstToken: formatDuration(firstTokenMs),
      hedge: hedgeMs === null ? null : formatDuration(hedgeMs),
    },
  };
}

function retryToFile(policy: RetryPolicyConfig) {
  return {
    initialInterval: formatDuration(policy.initialIntervalMs),
    backoffCoefficient: policy.backoffCoefficient,
    maximumInterval: formatDuration(policy.maximumIntervalMs),
    maximumAttempts: policy.maximumAttempts,
    startToClose: formatDuration(policy.startToCloseMs),
    scheduleToClose: formatDuration(policy.scheduleToCloseMs),
  };
}
