/** Everything that a workflow worker runs; the entry of the bundle. */
export { dappRequests } from './dapp-requests.js';
export { eraseSession } from './erase-session.js';
export { exportSession } from './export-session.js';
export { healthEpoch } from './health-epoch.js';
export { ingestSource } from './ingest-source.js';
export { onboardMiner } from './onboard-miner.js';
export { onboardUser } from './onboard-user.js';
export { releaseContent } from './release-content.js';
export { repairContent } from './repair-content.js';
export { refuseInference } from './refuse-inference.js';
export { session } from './session.js';
export { settlement } from './settlement.js';
