#!/bin/sh
# Written by colocate export; changes are lost when it is written again.
# Planned: bert.1.59eee76f with 60 % of GPU-00000001-1111-2222-3333-444444444441, batch 16
set -eu
cd -- /srv/bert
set -- \
  ${HOME+"HOME=$HOME"} \
  ${LANG+"LANG=$LANG"} \
  ${LC_ALL+"LC_ALL=$LC_ALL"} \
  ${PATH+"PATH=$PATH"} \
  ${TZ+"TZ=$TZ"} \
  COLOCATE_UNIT=bert.1.59eee76f \
  'MODEL=bert base; $HOME' \
  SHARE=60 \
  CUDA_MPS_LOG_DIRECTORY=/run/colocate/mps/00000001/log \
  CUDA_MPS_PIPE_DIRECTORY=/run/colocate/mps/00000001/pipe/gpu/bert_1_5_4613ece663 \
  CUDA_VISIBLE_DEVICES=GPU-00000001-1111-2222-3333-444444444441
exec env -i "$@" /opt/serve/run --port=8001 --batch 16 --say 'it'"'"'s 100 % "$5"'
