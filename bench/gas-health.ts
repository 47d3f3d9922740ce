/**
 * Gas a miner and epoch, by miners in the report. Each size is reported for two epochs; the second
 * is the steady state. Nothing is kept a miner on chain but in the event and under the root, so that
 * the two hardly differ, and that is what the figures show.
 */
import { id, Wallet } from 'ethers';
import { HealthChain, scoresRoot } from '../adapters/chain/health.js';
import { scoresHashOf } from '../adapters/chain/pack-scores.js';
import { cidOf, digestOf } from '../adapters/ipfs/cid.js';
import type { Address } from '../domain/ids.js';
import type { Bench } from './bench.js';
import { startCommitteeChain } from './chain/committee-chain.js';

const SIZES = [10, 100, 1_000] as const;

export const gasHealth: Bench = {
  name: 'gas-health',
  what: 'gas a miner and epoch, by miners in one report',
  target: { gas_per_miner_1000: { max: 1_500 } },
  async run(context) {
    const chain = await startCommitteeChain(context, 'health');
    const health = new HealthChain(chain.provider, chain.contracts);
    const evidenceCid = cidOf(new TextEncoder().encode('bench'));
    const miners = Array.from({ length: Math.max(...SIZES) }, (_, i) => addressOf(i));
    let epoch = 0;
    const report = async (count: number): Promise<number> => {
      epoch++;
      const scores = miners.slice(0, count).map((miner, i) => {
        return { miner, scoreBps: 9_100 + (i % 900), level: 9 };
      });
      const signatures = await chain.approve('ReportEpoch', health.healthLedger, {
        epoch,
        root: scoresRoot(scores),
        scoresHash: scoresHashOf(scores),
        evidence: digestOf(evidenceCid),
      });
      return await chain.execute(
        health.encodeReportEpoch({ epoch, scores, evidenceCid, signatures }),
      );
    };
    const metrics: Record<string, number> = {};
    for (const size of SIZES) {
      const first = await report(size);
      const steady = await report(size);
      metrics[`gas_per_miner_${size}`] = steady / size;
      metrics[`first_touch_per_miner_${size}`] = first / size;
      context.say(`${size} miners: ${steady} gas, ${first} for the epoch before`);
    }
    return metrics;
  },
};

/** Of a key that nobody else has: an address's zero bytes would be cheaper than real ones. */
function addressOf(index: number): Address {
  return new Wallet(id(`bench miner ${index}`)).address as Address;
}
