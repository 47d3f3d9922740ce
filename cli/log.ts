/** Logs as JSON lines on stderr; under a supervisor that is the process's log file. */
import { LOG_LEVELS, type Log, type LogLevel } from '../domain/log.js';

/** Opens a log for one process.
 * @param role - names the process in each line.
 * @param from - lines below this level are dropped. */
export function openLog(role: string, from: LogLevel = 'info'): Log {
  const lowest = LOG_LEVELS.indexOf(from);
  return (level, event, fields = {}) => {
    if (LOG_LEVELS.indexOf(level) < lowest) return;
    const line = { time: new Date().toISOString(), level, role, event, ...fields };
    process.stderr.write(`${JSON.stringify(line)}\n`);
  };
}
