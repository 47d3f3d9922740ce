/** `cortensor doctor`: what was found of every server and model, where, and what to do if not. */
import { parseArgs } from 'node:util';
import { examine } from '../../servers/doctor.js';
import type { ObtainReport } from '../../servers/obtain/index.js';
import type { Command } from '../command.js';
import { loadSettings } from '../config.js';
import { PROJECT_CONFIG } from '../project.js';

const HELP = `Usage: cortensor doctor [--config FILE] [--json]

Looks for every server and model that \`cortensor up\` needs, and changes nothing.

Options:
  --config FILE  temporal.yaml with the paths to look at first; default: the project's own
  --json         one JSON array on stdout

Exit codes: 0 all found, or the next start obtains it · 1 something must be installed
`;

export const doctor: Command = {
  help: HELP,
  async run(argv) {
    const { values } = parseArgs({
      args: [...argv],
      options: { config: { type: 'string' }, json: { type: 'boolean', default: false } },
      strict: true,
    });
    const { servers } = loadSettings({ file: values.config ?? PROJECT_CONFIG, env: process.env });
    const binaries = {
      temporal: servers.temporal.binary,
      ipfs: servers.ipfs.binary,
      postgres: servers.postgres.binary,
      anvil: servers.anvil.binary,
    };
    const configured = Object.entries(binaries).filter((entry) => entry[1] !== null);
    const reports = await examine(Object.fromEntries(configured) as Record<string, string>);
    process.stdout.write(
      values.json ? `${JSON.stringify(reports)}\n` : reports.map(describe).join(''),
    );
    return reports.every((report) => report.found || isObtainable(report)) ? 0 : 1;
  },
};

function describe(report: ObtainReport): string {
  const tried = report.tried.map(({ step, outcome }) => `    ${step}: ${outcome}\n`).join('');
  if (report.found) {
    return `✔ ${report.name} ${report.version} (${report.source})\n    ${report.path}\n`;
  }
  if (isObtainable(report)) return `○ ${report.name}: the next start obtains it\n${tried}`;
  return `✖ ${report.name}: not found\n${tried}    → ${report.remedy}\n`;
}

/** Some step is left that a start would try. */
function isObtainable(report: ObtainReport): boolean {
  return report.tried.some(({ outcome }) => outcome === 'would be tried next');
}
