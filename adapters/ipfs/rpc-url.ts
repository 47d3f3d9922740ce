/** Where a Kubo answers a call.
 * @param apiUrl - with or without the path of the API.
 * @param call - name and query. */
export function rpcUrl(apiUrl: string, call: string): URL {
  const base = new URL(apiUrl);
  const path = base.pathname === '/' ? '/api/v0' : base.pathname.replace(/\/$/, '');
  return new URL(`${path}/${call}`, base);
}
