/** Requests of contracts, from the chain to their end on it. Sealing and money are the session's. */
import type { Cid, Hex, SessionId, TaskId } from '../domain/ids.js';
import type { WeiString } from '../domain/money.js';

/** How a request ended on chain, whoever ended it. */
export interface InferenceEnd {
  /** `null`: another than the engine has ended it. */
  readonly transaction: Hex | null;
  readonly refundedWei: WeiString;
}

/** What the session of a request does in place of opening and closing by signatures. */
export interface InferenceActivities {
  /** Ends a request by its settled task, charged or not: refunds the rest and calls the contract.
   * @param input.batchCid - of the settled batch; the task's leaf in it is the proof. */
  fulfilInference(input: {
    readonly sessionId: SessionId;
    readonly taskId: TaskId;
    readonly batchCid: Cid;
  }): Promise<InferenceEnd>;
  /** Ends a request after its deadline, with all that is held. Waits where the chain's clock is
   * behind. */
  expireInference(input: { readonly sessionId: SessionId }): Promise<InferenceEnd>;
}
