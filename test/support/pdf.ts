/** Small PDF files, written by hand, for tests. @see ISO 32000-1, 7.5 */
import { deflateSync } from 'node:zlib';

/** Writes a PDF of one Helvetica line a page. */
export function pdfOf(pages: readonly string[]): Buffer {
  return assemble(
    pages.map((text) => {
      const escaped = text.replace(/[\\()]/g, (character) => `\\${character}`);
      return {
        filter: '/FlateDecode',
        bytes: deflateSync(`BT /F1 12 Tf 72 720 Td (${escaped}) Tj ET`),
      };
    }),
  );
}

/** Writes a PDF of some hundred kilobytes whose only page unpacks to so many bytes. */
export function pdfBomb(bytes: number): Buffer {
  const once = deflateSync(Buffer.alloc(bytes, '0 0 m 1 1 l '), { level: 9 });
  return assemble([
    { filter: '[/FlateDecode /FlateDecode]', bytes: deflateSync(once, { level: 9 }) },
  ]);
}

/** Writes a PDF that opens with a password only. @see ISO 32000-1, 7.6.3 */
export function lockedPdf(): Buffer {
  const secret = 'ab'.repeat(32);
  const encrypt = `<< /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <${secret}> /U <${secret}> >>`;
  return assemble([{ filter: '/FlateDecode', bytes: deflateSync('BT ET') }], {
    encrypt,
    trailer: ` /ID [<${'01'.repeat(16)}> <${'01'.repeat(16)}>]`,
  });
}

interface Stream {
  readonly filter: string;
  readonly bytes: Uint8Array;
}

function assemble(
  pages: readonly Stream[],
  lock: { readonly encrypt: string; readonly trailer: string } | null = null,
): Buffer {
  const kids = pages.map((_, i) => `${4 + 2 * i} 0 R`).join(' ');
  const font = '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>';
  const objects: Buffer[] = [
    Buffer.from('<< /Type /Catalog /Pages 2 0 R >>'),
    Buffer.from(`<< /Type /Pages /Kids [${kids}] /Count ${pages.length} >>`),
    Buffer.from(font),
    ...pages.flatMap(({ filter, bytes }, i) => [
      Buffer.from(
        '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] ' +
          `/Resources << /Font << /F1 3 0 R >> >> /Contents ${5 + 2 * i} 0 R >>`,
      ),
      Buffer.concat([
        Buffer.from(`<< /Length ${bytes.length} /Filter ${filter} >>\nstream\n`),
        bytes,
        Buffer.from('\nendstream'),
      ]),
    ]),
    ...(lock === null ? [] : [Buffer.from(lock.encrypt)]),
  ];
  const parts: Buffer[] = [Buffer.from('%PDF-1.4\n')];
  const offsets: number[] = [];
  let at = parts[0]?.length ?? 0;
  const add = (part: Buffer) => {
    parts.push(part);
    at += part.length;
  };
  objects.forEach((object, i) => {
    offsets.push(at);
    add(Buffer.concat([Buffer.from(`${i + 1} 0 obj\n`), object, Buffer.from('\nendobj\n')]));
  });
  const start = at;
  const rows = offsets.map((offset) => `${String(offset).padStart(10, '0')} 00000 n \n`).join('');
  const encrypt = lock === null ? '' : ` /Encrypt ${objects.length} 0 R${lock.trailer}`;
  add(
    Buffer.from(
      `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${rows}` +
        `trailer\n<< /Size ${objects.length + 1} /Root 1 0 R${encrypt} >>\nstartxref\n${start}\n%%EOF\n`,
    ),
  );
  return Buffer.concat(parts);
}
