import { DefaultLogger, Runtime } from '@temporalio/worker';

/** Lets Temporal's workers speak of failures only. Called before the first worker of a process. */
export function quietTemporal(): void {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' } } },
  });
}
