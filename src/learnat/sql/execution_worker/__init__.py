"""The process that runs SQL for ``learnat.sql.execution``.

It is started by path (``python -I -S execution_worker FD MEMORY_BYTES ENGINE``) and imports, of this project, nothing
but this folder: start-up costs a few hundredths of a second, and no torch, CUDA or Hydra state comes along. With the
engine ``sqlite`` it needs the standard library only. It answers requests ``(address, sql, timeout_s, digest, max_rows,
max_cells, max_bytes)`` on the inherited pipe with the fields of ``execution_process.Result`` until the pipe closes.

``service`` is the loop, its limits and the caps on a result; ``sqlite``, ``duckdb`` and ``postgresql`` are what opens a
database for reading only, behind the interface of ``database``; ``digests`` stands for rows too many to send.
Linux and macOS.
"""
