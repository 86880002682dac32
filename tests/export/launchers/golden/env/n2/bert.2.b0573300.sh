#!/bin/sh
# Written by colocate export; changes are lost when it is written again.
# Planned: bert.2.b0573300 with 100 % of GPU-00000002-1111-2222-3333-444444444442, batch 16
set -eu
cd -- /srv/bert
set -- \
  ${HOME+"HOME=$HOME"} \
  ${LANG+"LANG=$LANG"} \
  ${LC_ALL+"LC_ALL=$LC_ALL"} \
  ${PATH+"PATH=$PATH"} \
  ${TZ+"TZ=$TZ"} \
  COLOCATE_UNIT=bert.2.b0573300 \
  'MODEL=bert base; $HOME' \
  SHARE=100 \
  CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=100 \
  CUDA_MPS_LOG_DIRECTORY=/run/colocate/mps/00000002/log \
  CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=GPU-00000002-1111-2222-3333-444444444442=5120M \
  CUDA_MPS_PIPE_DIRECTORY=/run/colocate/mps/00000002/pipe \
  CUDA_VISIBLE_DEVICES=GPU-00000002-1111-2222-3333-444444444442
exec env -i "$@" /opt/serve/run --port=8000 --batch 16 --say 'it'"'"'s 100 % "$5"'
